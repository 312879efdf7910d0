"""Better pictures of pictures: networks that are given the worse one."""
