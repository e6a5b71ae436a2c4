"""Web pages, saved pages and sitemaps: the images that they name."""
