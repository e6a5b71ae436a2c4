"""`make learn`: half an hour of training on drawn scenes and parts of photographs, and an exam on what is held out."""
