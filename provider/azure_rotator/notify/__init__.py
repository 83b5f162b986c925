"""Events on their way to people: webhooks and mail. Implements ``ports.Notifier``."""
