"""What becomes of a word?"""
