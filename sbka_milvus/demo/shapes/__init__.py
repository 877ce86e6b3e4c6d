"""The categories' parametric drawings, one module a family, and the kit they are drawn with."""
