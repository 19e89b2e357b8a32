"""What the seller says as numbers: prices masked, words and pieces of words hashed, sentences encoded."""
