"""What `make bench` and `make results` measure, and what packs a trained model into genlib."""
