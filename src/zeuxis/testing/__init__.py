"""The contract that every system keeps, as plain functions, and the small source that it is checked on."""
