"""What holds for all tests."""

import os

# Before TensorFlow is imported: its notices on the machine's processor are no test output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
