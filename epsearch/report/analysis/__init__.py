"""What a study means: verdict, advice, summary."""
