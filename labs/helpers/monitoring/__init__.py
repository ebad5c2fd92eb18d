"""Lab 08: a Prometheus that a cell keeps is asked, drawn, given rules; dashboards are made and tried."""
