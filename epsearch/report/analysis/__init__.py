"""The interpretation of a study: verdict, advice, summary."""
