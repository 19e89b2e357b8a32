"""What is made of what, and so what is out of date: pure planning."""
