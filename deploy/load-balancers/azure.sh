#!/usr/bin/env bash
# Azure Load Balancer: how it asks gateways whether they are ready.
set -euo pipefail
: "${GROUP:?the resource group}" "${BALANCER:?a load balancer of it}" "${SECURITY_GROUP:?of the gateways}"

# admin.http of the gateways is on their private addresses, port 9900. Probes come from 168.63.129.16, which the tag means.
az network nsg rule create --resource-group "$GROUP" --nsg-name "$SECURITY_GROUP" --name midmile-probes --priority 200 \
    --source-address-prefixes AzureLoadBalancer --destination-port-ranges 9900 --protocol Tcp --access Allow

# Sessions of a gateway that drains go on: a probe that fails keeps newcomers away, and no more.
az network lb probe create --resource-group "$GROUP" --lb-name "$BALANCER" --name midmile-ready \
    --protocol Http --port 9900 --path /readyz --interval 5 --probe-threshold 2

az network lb rule create --resource-group "$GROUP" --lb-name "$BALANCER" --name midmile-orders \
    --protocol Tcp --frontend-port 443 --backend-port 8443 --probe-name midmile-ready \
    --idle-timeout 30 --enable-tcp-reset true
