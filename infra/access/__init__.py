"""Who may do what: API keys, JSON Web Tokens, tenants and roles."""
