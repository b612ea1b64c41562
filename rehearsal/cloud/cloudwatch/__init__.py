"""CloudWatch of the emulator: metrics, metric math, alarms and composite alarms."""
