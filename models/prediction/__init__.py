"""A patient's measurements over time to risk, survival and course: recipes, networks, boosting, and how they answer."""
