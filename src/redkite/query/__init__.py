"""How is one read answered on one view? Plans, allowed rows, execution, merging."""
