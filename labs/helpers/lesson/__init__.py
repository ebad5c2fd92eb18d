"""What belongs to a lesson rather than to its subject: stopwatches, and lab 00's tiny criterion."""
