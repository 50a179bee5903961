"""What `make grade` is made of: from a folder of submissions to points, with strangers' code in a jail."""
