"""From sources to stored images: planning rows, fetching politely and safely, making records."""
