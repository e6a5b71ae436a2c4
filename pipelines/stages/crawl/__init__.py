"""The crawl stage: plans rows of sources and stores their images, partition by partition."""
