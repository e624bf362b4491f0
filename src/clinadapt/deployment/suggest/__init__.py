"""What to label next: the unlabelled notes whose labels would help a study's model most.

strategy  which notes, given probabilities and vectors: pure functions over arrays
suggest   reads and scores the notes, leaves out what is labelled already, writes the list
"""
