"""The OpenAPI description of a blueprint's routes, made of the tables that the routes themselves use."""
