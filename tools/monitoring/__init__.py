"""What Prometheus, Alertmanager and Grafana are given: rules, routes, dashboards, made from one place."""
