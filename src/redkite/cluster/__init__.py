"""Where does each node run, and how do nodes call each other?"""
