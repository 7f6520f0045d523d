"""What training is given: a user's labelled images or drawn scenes, augmented and put in batches."""
