"""One module per credential kind: mint, prove, retire, recover, over ports."""
