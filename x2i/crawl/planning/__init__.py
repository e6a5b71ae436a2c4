"""Planning a crawl: which rows of the sources are new, under which identity."""
