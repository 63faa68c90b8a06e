"""`just audit`: is anything known against the packages that this project pins?"""
