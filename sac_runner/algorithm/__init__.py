"""SAC itself: pure torch, without files, environments or logging."""
