"""Exams of trained networks: what they are asked, how the pictures are judged, and the sheet that shows both."""
