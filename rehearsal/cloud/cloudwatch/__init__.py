"""CloudWatch of the emulated AWS: metrics, metric math, alarms and composite alarms."""
