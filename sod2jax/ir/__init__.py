"""What a program is made of: dimensions, regions, comparisons, jaxprs."""
