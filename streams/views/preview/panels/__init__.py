"""One function a kind of panel: from its data to a piece of the page."""
