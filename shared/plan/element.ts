/**
 * Everything podwire makes in nftables lies in tables of this name, one a family: `ip` and `ip6` rather than `inet`, so
 * that a kernel without IPv6 can do its IPv4 part.
 */
export const ownTable = 'podwire'
export type NftFamily = (typeof bothFamilies)[number] | 'bridge'

/** Families that rules about IP come in. */
export const bothFamilies = ['ip', 'ip6'] as const

/** A table of nftables, or a chain or a set in it, whoever made it. */
export interface NftObject {
  readonly family: 'inet' | NftFamily
  readonly table: string
  readonly chain?: string
  readonly set?: string
}

/** A chain of nftables, whoever made it. */
export type Chain = NftObject & { readonly chain: string }

/**
 * An element of one of our maps or sets. `value` is absent in a set; `comment` is for people and for the search by
 * owner.
 */
export interface Element {
  readonly family: NftFamily
  readonly collection: string
  readonly key: readonly string[]
  readonly value?: readonly string[]
  readonly comment?: string
}
