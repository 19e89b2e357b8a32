"""Which asset is made from which, and so what is out of date: pure planning."""
