"""The policy pack: the rules of ``azure_rotator.policy``, served to Pulumi. See README.md."""

from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
)

from azure_rotator.policy import ROTATED_SECRET, RULES, Rule


def _policy(rule: Rule) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if args.resource_type == ROTATED_SECRET:
            for message in rule.violations(args.props, args.get_config()):
                report(message, None)

    return ResourceValidationPolicy(
        name=rule.name,
        description=rule.description,
        validate=validate,
        enforcement_level=EnforcementLevel(rule.level),
        config_schema=PolicyConfigSchema({name: dict(schema) for name, schema in rule.config_schema.items()}),
    )


PolicyPack("azure-rotator", [_policy(rule) for rule in RULES])
