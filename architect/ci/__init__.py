"""How a repair is told to a continuous-integration service: annotations, JUnit, SARIF, summary."""
