#!/usr/bin/env bash
# AWS Network Load Balancer: how its target group asks gateways whether they are ready.
set -euo pipefail
: "${VPC:?the network of the gateways, as in vpc-0123}"

# admin.http of the gateways is on their private addresses, port 9900; their security group lets the load balancer's in.
arn=$(aws elbv2 create-target-group --name midmile-orders --vpc-id "$VPC" \
    --target-type instance --protocol TCP --port 8443 \
    --health-check-protocol HTTP --health-check-port 9900 --health-check-path /readyz --matcher HttpCode=200 \
    --health-check-interval-seconds 10 --health-check-timeout-seconds 5 \
    --healthy-threshold-count 2 --unhealthy-threshold-count 2 \
    --query 'TargetGroups[0].TargetGroupArn' --output text)

# A gateway that drains is not ready and still has sessions: by default the load balancer would cut them off. And it
# says who the clients are by a PROXY header, for listeners with accept_proxy = true.
aws elbv2 modify-target-group-attributes --target-group-arn "$arn" --attributes \
    Key=target_health_state.unhealthy.connection_termination.enabled,Value=false \
    Key=target_health_state.unhealthy.draining_interval_seconds,Value=3600 \
    Key=deregistration_delay.connection_termination.enabled,Value=false \
    Key=preserve_client_ip.enabled,Value=false \
    Key=proxy_protocol_v2.enabled,Value=true
