"""What monitoring itself does: long stays, re-entries, results of help, misses; each part is one module and one function."""
