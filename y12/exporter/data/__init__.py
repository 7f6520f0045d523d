"""Images and labels of users, whatever wrote them. No torch here."""
