"""One module a revision, ``rNNNN_what.py``; ``opening.REVISIONS`` lists them."""
