"""How is a cluster started, watched and stopped?"""
