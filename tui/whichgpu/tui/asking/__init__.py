"""Options ⇄ question: declared, mapped and spelled."""
