"""Where does a text fall into words?"""
