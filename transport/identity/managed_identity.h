// The identity that Azure gives to a machine or a service, by the service beside it that has its
// tokens:
//
//   IMDS         virtual machines, AKS nodes: http://169.254.169.254, or what
//                AZURE_POD_IDENTITY_AUTHORITY_HOST says
//   App Service  also Functions and Container Apps: IDENTITY_ENDPOINT and IDENTITY_HEADER
//   Azure Arc    machines elsewhere: IDENTITY_ENDPOINT and IMDS_ENDPOINT, or the agent's default
//                where it is installed; proves that we are root's friend by a key file it names
//   Azure ML     MSI_ENDPOINT and MSI_SECRET
//
// None of these is ever asked through a proxy.
//
// Sources: "How to use managed identities for Azure resources on an Azure VM to acquire an access
// token", "How to use managed identities for App Service", "Authenticate against Azure resources
// with Azure Arc-enabled servers", and the order of detection of Azure's own libraries.
//
// Thread safety: as TokenSource.
#pragma once

#include <memory>
#include <string>

#include "transport/identity/http_token_source.h"

namespace penstock::identity {

// Which of a machine's identities; all empty: the only one, or the system-assigned one.
struct ManagedIdentityId {
  std::string client_id;
  std::string object_id;
  std::string resource_id;  // /subscriptions/.../userAssignedIdentities/name
  bool operator==(const ManagedIdentityId&) const = default;
};

// Where the services are, as the environment says.
struct ManagedIdentityPlaces {
  std::string imds_host;          // AZURE_POD_IDENTITY_AUTHORITY_HOST
  std::string identity_endpoint;  // IDENTITY_ENDPOINT
  std::string identity_header;    // IDENTITY_HEADER: a secret
  std::string server_thumbprint;  // IDENTITY_SERVER_THUMBPRINT: Service Fabric, not served
  std::string imds_endpoint;      // IMDS_ENDPOINT
  std::string msi_endpoint;       // MSI_ENDPOINT
  std::string msi_secret;         // MSI_SECRET: a secret
  std::string ca_file;            // what to trust where one of them speaks TLS
  std::string arc_agent = "/opt/azcmagent/bin/himds";
  std::string arc_key_folder = "/var/opt/azcmagent/tokens";
  bool operator==(const ManagedIdentityPlaces&) const = default;

  static ManagedIdentityPlaces FromProcess();
  // The environment names a service other than IMDS: one that does not answer is an error, not
  // "none here".
  bool Named() const;
};

// With `probing` the first request is a short one, and an IMDS that does not answer means that
// there is none. kInvalid with a sentence if places and id do not go together.
Result<std::unique_ptr<TokenSource>> MakeManagedIdentity(const ManagedIdentityId& id,
                                                         const ManagedIdentityPlaces& places,
                                                         bool probing, std::string* explanation);

// Reads the key that an Azure Arc challenge ("Basic realm=/var/opt/azcmagent/tokens/x.key") names.
// Only a *.key file of at most 4,096 bytes that lies in `key_folder` itself is read: whoever
// answers on the port must not choose another file for us to send.
Result<std::string> ReadArcKey(std::string_view challenge, const std::string& key_folder,
                               std::string* explanation);

}  // namespace penstock::identity
