"""What does a request mean, is it allowed, whom does it concern?"""
