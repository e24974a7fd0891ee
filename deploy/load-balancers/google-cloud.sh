#!/usr/bin/env bash
# Google Cloud, passthrough network load balancer: how its backend service asks gateways whether they are ready.
set -euo pipefail
: "${REGION:?as in us-west1}" "${NETWORK:?the VPC network of the gateways}"

# admin.http of the gateways is on their private addresses, port 9900. The ranges are where Google's probes come from.
gcloud compute firewall-rules create midmile-probes --network "$NETWORK" --direction INGRESS --target-tags midmile \
    --source-ranges 35.191.0.0/16,130.211.0.0/22,209.85.152.0/22,209.85.204.0/22 --allow tcp:9900

gcloud compute health-checks create http midmile-ready --region "$REGION" --port 9900 --request-path /readyz \
    --check-interval 5s --timeout 5s --healthy-threshold 2 --unhealthy-threshold 2

# A gateway that drains is not ready and still has sessions: they stay where they are.
gcloud compute backend-services create midmile-orders --region "$REGION" --protocol TCP \
    --load-balancing-scheme EXTERNAL --health-checks midmile-ready --health-checks-region "$REGION" \
    --connection-persistence-on-unhealthy-backends ALWAYS_PERSIST --connection-draining-timeout 3600s
