/** One container's tie to one network: the owner of everything an ADD makes. */
export interface Attachment {
  readonly network: string
  readonly containerID: string
  readonly ifName: string
}
