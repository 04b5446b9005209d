"""The builders that the container joins, in rooms by duty. Nothing else imports them."""
