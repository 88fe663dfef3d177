"""What ``scripts/look`` sees of TensorBoard in a real browser."""
