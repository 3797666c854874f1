"""How are values found fast? Indexes over scalar fields, arrays, JSON paths and shapes.

They never change which rows a filter keeps: an index answers a leaf of a filter exactly, or says nothing and the rows
are looked at.
"""
